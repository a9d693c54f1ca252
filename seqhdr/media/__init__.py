"""What comes in and goes out: shots on disk, integer frames, EXR files, timecode."""
