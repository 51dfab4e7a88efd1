"""The miner's side of an OpenCL device: its worker's process, its watchdog and its temperature."""
