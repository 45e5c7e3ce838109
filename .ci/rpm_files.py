#!/usr/bin/env python3
"""Prints where the files of the .rpm are installed, by Cargo.toml: each source is there, and has a place."""

import glob
import os
import sys
import tomllib

with open("Cargo.toml", "rb") as manifest:
    assets = tomllib.load(manifest)["package"]["metadata"]["generate-rpm"]["assets"]
for asset in assets:
    sources = glob.glob(asset["source"])
    if not sources:
        sys.exit(f"nothing is {asset['source']}")
    for source in sources:
        place = asset["dest"]
        print(place + os.path.basename(source) if place.endswith("/") else place)
