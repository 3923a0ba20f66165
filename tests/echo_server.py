"""A module for a fresh interpreter: sends back what it receives on the descriptor it is told."""

import socket
import sys

from proofq.workers.wire import Channel

if __name__ == "__main__":
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    for message in channel.receive():
        channel.send(message.body)
