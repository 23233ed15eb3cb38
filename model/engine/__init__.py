"""Engines run a bundle's network on one kind of hardware. ONNX Runtime on the CPU is the reference."""
