"""How cost grows: with rows, sockets, processes and waiting tasks."""
