"""What happens to a client's update before it is summed, and to the sum: privacy and compression, one class each."""
