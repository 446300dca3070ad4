"""A config that is formatted once, as long as it stays the same."""

from mmengine.config import Config


class FormattedConfig(Config):
    """MMEngine's config, whose text is kept.

    Every checkpoint holds the text, and MMEngine formats it anew for each, for a tenth of a
    second and more.
    """

    @property
    def pretty_text(self) -> str:
        """The config as Python source."""
        # As in MMEngine, attributes of the object itself are set past Config, whose attributes
        # are the config's keys.
        values = repr(self._to_lazy_dict())
        kept = self.__dict__.get('_formatted')
        if kept is None or kept[0] != values:
            kept = (values, super().pretty_text)
            super(Config, self).__setattr__('_formatted', kept)
        return kept[1]
