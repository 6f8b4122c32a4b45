"""The built-in plugins. They come in by the same door as a third party's: entry points and public interfaces."""
