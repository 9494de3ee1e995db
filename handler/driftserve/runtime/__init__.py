"""The runtime directory, in which the processes of one server exchange files, sockets and locks."""
