"""The story that the lab tells: a machine boots from the disk that its DPU gives it."""
