"""TwinFusionLib: a patient's images into one frame; arrays in, arrays out."""
