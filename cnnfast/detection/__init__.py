"""What every system that finds objects needs: boxes, RoI pooling, drawing, data sets and metrics."""
