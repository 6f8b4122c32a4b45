"""Annotation by people: recorded answers, and what is made of them."""
