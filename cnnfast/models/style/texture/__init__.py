"""Texture synthesis (Gatys, Ecker, Bethge, NIPS 2015)."""
