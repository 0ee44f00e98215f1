"""What is only true of images: files, decoding, pixels, corruptions."""
