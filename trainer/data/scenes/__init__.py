"""Built-in data: scenes of coloured shapes, written as ordinary images, captions and boxes."""
