"""Walks the steps of one execution's definition, without SQL."""
