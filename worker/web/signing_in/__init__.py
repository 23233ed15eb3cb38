"""Ways of signing in to the web page: with a password, at a proxy, at an OpenID Connect provider."""
