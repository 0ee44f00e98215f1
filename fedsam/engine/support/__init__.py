"""What engines stand on: threads, memory, shared buffers, worker processes, captured graphs."""
