"""What is learnt and how it is scored. One task, one module."""
