"""The sensors of a graphics card: temperature, fan, power and clocks, through NVML or hwmon."""
