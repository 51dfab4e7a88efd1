"""What runs in the process that loads an OpenCL driver, and may crash or hang there."""
