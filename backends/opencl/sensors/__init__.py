"""What a graphics card says of itself: temperature, fan, power and clocks, by NVML or hwmon."""
