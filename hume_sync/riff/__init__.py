"""WAV files as RIFF chunks: where their samples are, and in which format. Used by `stream` and by `fastrtc`."""
