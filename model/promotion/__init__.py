"""May a shadow take over from the live bundle?"""
