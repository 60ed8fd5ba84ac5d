"""For supervisors, load balancers and Prometheus."""
