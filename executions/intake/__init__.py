"""From a request at a trigger URL, or a schedule's fire time, to a stored execution."""
