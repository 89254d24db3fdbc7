"""What factors, scores and rankings measure up to."""
