"""Training under real launchers on this machine: Slurm, MPI, torchrun with several agents."""
