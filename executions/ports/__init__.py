"""What a step may ask of the world, as `connectors.sdk.call` declares it."""
