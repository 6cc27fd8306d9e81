"""Audio formats and samples: WAV chunks and formats, MPEG frames, encodings, resampling."""
