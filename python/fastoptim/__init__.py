"""fastoptim."""
