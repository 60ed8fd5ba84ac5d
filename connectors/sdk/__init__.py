"""What a connector is written with."""
