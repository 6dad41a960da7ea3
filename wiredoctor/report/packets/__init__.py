"""Write reports that contain packets: annotated captures, followed streams, header sections and bodies."""
