"""Whether the real tests hold on other processors than this one, and as often as they are run."""
