"""Videos and pictures of recorded episodes: MuJoCo's renderer in a second process, particle worlds without OpenGL."""
