"""What is kept on disk, and images on their way in and out. Nothing here imports torch.

image_history
            History(folder=None), default NINE_WAYS_OUTPUT or ./outputs
            .add(image, recipe, seconds=None) -> Entry; .get(id); .delete(id); .restore(id); .favour(id, on);
            .search(words="", limit=24, offset=0, titles={}, among=None, favourites=False) -> list[Entry];
            .count(words, titles, among, favourites); .note (words after a repair, or None);
            .keep_input(image) -> sha256; .input(sha256) -> image | None
            Entry(id, path, recipe, made, seconds, favourite): .image() opens the file
history_search
            condition(words, titles, among, favourites) -> what a search means, in SQL
image_files open_upload(source) -> Upload(image, parameters, notes)   raises ImageError (in words)
            content_hash(image) -> sha256 of size and pixels
"""
