"""What files of audio are made of: chunks of WAV, frames of MPEG. Used by `stream` and by `fastrtc`."""
