"""The ports through which steps reach the world; `connectors.sdk.call` declares them."""
