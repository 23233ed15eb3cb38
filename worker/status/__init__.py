"""What `xrayq status` and `xrayq doctor` read and draw."""
