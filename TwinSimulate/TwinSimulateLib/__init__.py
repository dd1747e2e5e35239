"""TwinSimulateLib: physiology on the image grid; every model is found through `TwinSimulateLib.registry`."""
