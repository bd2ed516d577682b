"""The driver of containers: plans in, running instances out, through the launcher and its monitors."""
