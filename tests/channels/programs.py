"""Code for the other end of channels."""


def echo(channel):
    for item in channel:
        channel.send(item)


def swallow(channel):
    """Say that it is there, then take nothing until it is told to by the channel it got first."""
    gate = channel.receive()
    channel.send("ready")
    gate.receive()
    channel.send(sum(1 for _ in channel))
