"""Code for the other end of channels."""


def echo(channel):
    for item in channel:
        channel.send(item)


def swallow(channel):
    """Send a first item, then receive nothing until the channel it got first says so."""
    gate = channel.receive()
    channel.send("ready")
    gate.receive()
    channel.send(sum(1 for _ in channel))
