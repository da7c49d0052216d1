"""What crosses between the host and its plugins: named errors, checked values, guarded state."""
