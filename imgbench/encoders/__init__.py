"""Encoders: images and texts become unit vectors of one space.

`base` is the contract, `families` finds the code for a name, and `presets` lists models worth measuring.
"""
