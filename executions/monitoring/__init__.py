"""Pages for supervisors, load balancers and Prometheus."""
