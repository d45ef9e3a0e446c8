"""What makes a trained model fast to use."""
