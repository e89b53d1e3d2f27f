"""The commands of texture synthesis and style transfer."""
