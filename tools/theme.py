"""Small mends of the book's theme, as a Sphinx extension."""


def hide_unset_address(app, config):
    """No buttons lead to the repository while `make repo` has not set its address; Colab opens GitHub's only."""
    options = config.html_theme_options
    url = options["repository_url"]
    if not url.startswith("https://github.com/"):
        options.pop("launch_buttons", None)
    if ".invalid/" in url:
        for name in ("repository_url", "use_repository_button", "use_issues_button"):
            options.pop(name, None)


def setup(app):
    app.connect("config-inited", hide_unset_address, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
