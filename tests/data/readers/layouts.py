"""Writers of miniature data sets, each in exactly the layout of a known one.

Every writer takes a folder and images with their truth: (uint8 h x w x 3, label map of 0 to 3), and returns the names
that the labels 1, 2 and 3 have in the format.
"""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

VOC_NAMES = ["aeroplane", "bicycle", "bird"]


def save_jpg(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95, subsampling=0)


def save_png(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def in_channels(codes, *divisors):
    """Codes as an RGB image: one channel for each divisor."""
    codes = np.asarray(codes, np.int64)
    return np.stack([codes // divisor % 256 for divisor in divisors] + [0 * codes] * (3 - len(divisors)), -1).astype(
        np.uint8
    )


def broden(root, images, version="1_224"):
    """Numbers of labels are unified over categories; object 300 needs the green channel."""
    numbers = np.array([0, 12, 300, 17])
    index = [["image", "split", "ih", "iw", "sh", "sw", "color", "object", "part", "material", "scene", "texture"]]
    for n, (image, truth) in enumerate(images):
        name, half = f"ade20k/ADE_train_{n:08}.jpg", truth[::2, ::2]
        save_jpg(root / "images" / name, image)
        save_png(root / "images" / f"ade20k/ADE_train_{n:08}_object.png", in_channels(numbers[half], 1, 256))
        first, second = np.where(half == 1, 20, 0), np.where(half > 0, 21, 0)
        save_png(root / "images" / f"ade20k/ADE_train_{n:08}_part_1.png", in_channels(first, 1, 256))
        save_png(root / "images" / f"ade20k/ADE_train_{n:08}_part_2.png", in_channels(second, 1, 256))
        stem = f"ade20k/ADE_train_{n:08}"
        parts = f"{stem}_part_1.png;{stem}_part_2.png"
        size = [*image.shape[:2], *half.shape]
        row = [name, "train" if n % 3 else "val", *size, "", f"{stem}_object.png", parts, "", "40" if n % 2 else ""]
        index.append([*row, "314;194"])
    write_rows(root / "index.csv", index)
    labels = [(12, "wall", "object(8)"), (17, "sky", "object(5);part(1)"), (20, "wheel", "part(4)")]
    labels += [(21, "edge", "part(6)"), (40, "street-s", "scene(4)"), (194, "lined", "texture(8)")]
    labels += [(300, "tree", "object(7)"), (314, "grid", "texture(8)")]
    write_rows(
        root / "label.csv",
        [["number", "name", "category", "frequency", "coverage", "syns"], *([*row, 5, 0.5, ""] for row in labels)],
    )
    categories = ["object", "part", "scene", "texture"]
    write_rows(
        root / "category.csv",
        [["name", "first", "last", "count", "frequency"], *([name, 12, 314, 2, 8] for name in categories)],
    )
    for category in categories:
        own = [(number, name) for number, name, of in labels if f"{category}(" in of]
        rows = [[code, number, name, 5, 0.5] for code, (number, name) in enumerate(own, 1)]
        write_rows(root / f"c_{category}.csv", [["code", "number", "name", "frequency", "coverage"], *rows])
    return ["wall", "tree", "object/sky"]


def voc(root, images):
    """Every object has a band of 255 around it; here one column of the image."""
    stems = [f"2007_{n:06}" for n in range(len(images))]
    palette = [value for label in range(256) for value in (label * 37 % 256, label * 91 % 256, label * 13 % 256)]
    for stem, (image, truth) in zip(stems, images, strict=True):
        save_jpg(root / "JPEGImages" / f"{stem}.jpg", image)
        plane = truth.copy()
        plane[:, 0] = 255
        save_png(root / "SegmentationClass" / f"{stem}.png", plane, palette)
    save_jpg(root / "JPEGImages" / "2007_999999.jpg", images[0][0])  # most images of VOC have no segmentation
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, some in {"train": stems[1:], "val": stems[:1], "trainval": stems}.items():
        (lists / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in some))
    return VOC_NAMES


def ade20k(root, images):
    rows = [["Idx", "Ratio", "Train", "Val", "Name"], [1, 0.2, 11, 1, "wall"], [2, 0.1, 6, 1, "building, edifice"]]
    rows += [[3, 0.1, 8, 1, "sky"], [4, 0.1, 8, 1, "screen, silver screen"], [5, 0.1, 8, 1, "screen, CRT screen"]]
    root.mkdir(parents=True, exist_ok=True)
    (root / "objectInfo150.txt").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    scenes = []
    for n, (image, truth) in enumerate(images):
        split, stem = ("validation", f"ADE_val_{n:08}") if n == 0 else ("training", f"ADE_train_{n:08}")
        save_jpg(root / "images" / split / f"{stem}.jpg", image)
        save_png(root / "annotations" / split / f"{stem}.png", truth)
        scenes.append(f"{stem} {('street', 'bathroom')[n % 2]}\n")
    (root / "sceneCategories.txt").write_text("".join(scenes))
    return ["wall", "building", "sky"]


ADE_CODES = np.array([0, 5, 2977, 40])
ADE_NAMES = {5: "door", 2977: "wall, partition", 40: "sky", 41: "doorknob, knob", 300: "screw"}


def ade20k_full(root, images, names="mat"):
    """The full release; names from the index ("mat"), from "json" (2021) or from "atr" files (2016)."""
    for n, (image, truth) in enumerate(images):
        folder = root / "images" / ("validation" if n == 0 else "training") / "s" / "street"
        stem = f"ADE_train_{n:08}"
        save_jpg(folder / f"{stem}.jpg", image)
        _save_ade(folder / f"{stem}_seg.png", ADE_CODES[truth], truth)
        save_png(folder / stem / f"instance_000_{stem}.png", 255 * (truth == 1).astype(np.uint8))  # of the 2021 release
        _save_ade(folder / f"{stem}_parts_1.png", np.where(truth == 1, 41, 0), truth == 1)
        _save_ade(folder / f"{stem}_parts_2.png", np.where(truth[:1] == 1, 300, 0).repeat(len(truth), 0), truth == 1)
        if names == "atr":
            rows = [f'{k:03} # 0 # 0 # {ADE_NAMES[ADE_CODES[label]]} # raw # ""' for k, label in _ranks(truth)]
            rows += ['001 # 1 # 0 # doorknob, knob # knob # ""', '001 # 2 # 0 # screw # screw # ""']
            (folder / f"{stem}_atr.txt").write_text("\n".join(rows) + "\n")
        if names == "json":
            named = [(0, ADE_CODES[label]) for label in (1, 2, 3)] + [(1, 41), (2, 300)]
            described = [
                {"id": k, "name": ADE_NAMES[code], "name_ndx": int(code), "parts": {"part_level": level}}
                for k, (level, code) in enumerate(named)
            ]
            (folder / f"{stem}.json").write_text(json.dumps({"annotation": {"object": described}}))
    if names == "mat":
        _save_index(root / "index_ade20k.mat", len(images))
    return ["door", "wall", "sky"]


def _ranks(truth):
    return [(k, label) for k, label in enumerate(np.unique(truth)) if label]


def _save_ade(path, codes, instances):
    """R = class // 256 * 10, G = class % 256, B = instance, scattered."""
    red, green = codes // 256 * 10, codes % 256
    save_png(path, np.stack([red, green, np.asarray(instances) * 60], -1).astype(np.uint8))


def _save_index(path, images):
    from scipy.io import savemat

    names = np.array([ADE_NAMES.get(code, f"thing {code}") for code in range(1, 2978)], object)
    counts = np.zeros((len(names), images))
    parts = counts.copy()
    counts[[4, 2976, 39, 40, 299]] = 1
    parts[[40, 299]] = 1
    savemat(path, {"index": {"objectnames": names, "objectPresence": counts, "objectIsPart": parts}})


def cityscapes(root, images):
    ids = np.array([0, 7, 26, 11], np.uint8)  # unlabeled, road, car, building
    for n, (image, truth) in enumerate(images):
        split, city = ("val", "lindau") if n == 0 else ("train", "aachen")
        stem = f"{city}_{n:06}_000019"
        save_png(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
        save_png(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", ids[truth])
        save_png(root / "gtFine" / split / city / f"{stem}_gtFine_color.png", image)
    save_png(root / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png", images[0][0])
    save_png(root / "gtFine" / "test" / "berlin" / "berlin_000000_000019_gtFine_labelIds.png", 0 * images[0][1])
    return ["road", "car", "building"]


COCO_CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
    {"id": 3, "name": "car", "supercategory": "vehicle", "isthing": 1},
    {"id": 92, "name": "banner", "supercategory": "textile", "isthing": 0},
]


def _images(images):
    return [
        {"id": 139 + n, "file_name": f"{139 + n:012}.jpg", "height": p.shape[0], "width": p.shape[1]}
        for n, (p, _) in enumerate(images)
    ]


def _save_coco(root, images, name, categories, annotations):
    for entry, (image, _) in zip(_images(images), images, strict=True):
        save_jpg(root / "val2017" / entry["file_name"], image)
    path = root / "annotations" / f"{name}_val2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": _images(images), "annotations": annotations, "categories": categories}))


def coco_panoptic(root, images):
    """Things of label 1 and 2 (a segment each, one of them a crowd), stuff of label 3; the rest is not judged."""
    ids = np.array([0, 70_000, 3, 261])
    annotations = []
    for image, (_, truth) in zip(_images(images), images, strict=True):
        file = image["file_name"].replace(".jpg", ".png")
        save_png(root / "annotations" / "panoptic_val2017" / file, in_channels(ids[truth], 1, 256, 65536))
        segments = [
            {"id": int(ids[k]), "category_id": category["id"], "iscrowd": int(k == 2), "area": 9, "bbox": [0, 0, 3, 3]}
            for k, category in enumerate(COCO_CATEGORIES, 1)
            if (truth == k).any()
        ]
        annotations.append({"image_id": image["id"], "file_name": file, "segments_info": segments})
    _save_coco(root, images, "panoptic", COCO_CATEGORIES, annotations)
    return ["person", "car", "banner"]


def run_lengths(mask):
    """COCO's uncompressed run lengths: column by column, starting with what is not marked."""
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(int)])
    edges = np.flatnonzero(np.diff(flat))
    return np.diff([0, *edges, len(flat) - 1]).tolist()


def coco_instances(root, images):
    """Label 1 as a crowd in run lengths, labels 2 and 3 as polygons, a rectangle for each block of pixels."""
    annotations = []
    for image, (_, truth) in zip(_images(images), images, strict=True):
        where = {"image_id": image["id"], "bbox": [0, 0, 3, 3], "area": 9}
        coded = {"counts": run_lengths(truth == 1), "size": list(truth.shape)}
        annotations.append({**where, "id": len(annotations), "category_id": 1, "iscrowd": 1, "segmentation": coded})
        for label in (2, 3):
            polygons = [
                [x, y, x + 8, y, x + 8, y + 8, x, y + 8]
                for y in range(0, truth.shape[0], 8)
                for x in range(0, truth.shape[1], 8)
                if truth[y, x] == label
            ]
            category = COCO_CATEGORIES[label - 1]["id"]
            annotations.append(
                {**where, "id": len(annotations), "category_id": category, "iscrowd": 0, "segmentation": polygons}
            )
    _save_coco(root, images, "instances", COCO_CATEGORIES, annotations)
    return ["person", "car", "banner"]


STUFF = [{"id": 92, "name": "banner"}, {"id": 93, "name": "blanket"}, {"id": 183, "name": "other"}]


def coco_stuff(root, images, maps=True):
    """Stuff of labels 1 and 2; label 3 is "other", 0 is not judged. As pixel maps, or as run lengths."""
    ids = np.array([0, 92, 93, 183], np.uint8)
    annotations = []
    for image, (_, truth) in zip(_images(images), images, strict=True):
        if maps:
            file = image["file_name"].replace(".jpg", ".png")
            save_png(root / "annotations" / "stuff_val2017_pixelmaps" / file, ids[truth])
        for label in (1, 2, 3):
            coded = {"counts": run_lengths(truth == label), "size": list(truth.shape)}
            annotations.append(
                {"id": len(annotations), "image_id": image["id"], "category_id": int(ids[label]), "segmentation": coded}
            )
    _save_coco(root, images, "stuff", STUFF, annotations)
    return ["banner", "blanket"]


def cocostuff(root, images, maps="stuffthingmaps_trainval2017", photos="."):
    """The pixel maps: person (0), banner (91) and wood (181), one less than in labels.txt; one column is void."""
    values = np.array([2, 0, 91, 181], np.uint8)  # what is none of the three is a car
    for n, (image, truth) in enumerate(images):
        split = "val2017" if n == 0 else "train2017"
        plane = values[truth]
        plane[:, 0] = 255
        save_jpg(root / photos / split / f"{n:012}.jpg", image)
        save_png(root / maps / split / f"{n:012}.png", plane)
    return ["person", "banner", "wood"]


def openimages(root, images):
    """One mask an object, at half the size; class descriptions without headings, as in V4 and V5."""
    labels = ["/m/01g317", "/m/0k4j", "/m/0199g"]
    rows = [["MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU"]]
    rows[0].append("Clicks")
    for n, (image, truth) in enumerate(images):
        number = f"{n:016x}"
        save_jpg(root / "validation" / f"{number}.jpg", image)
        for k, label in enumerate(labels, 1):
            mask = f"{number}_{label[1:].replace('/', '')}_{k:08x}.png"
            save_png(root / "masks" / mask, np.where(truth[::2, ::2] == k, 255, 0).astype(np.uint8))
            rows.append([mask, number, label, f"{k:08x}", 0, 1, 0, 1, 0.8, ""])
    write_rows(root / "validation-annotations-object-segmentation.csv", rows)
    write_rows(root / "class-descriptions-boxable.csv", list(zip(labels, ["Person", "Car", "Bike"], strict=True)))
    return ["Person", "Car", "Bike"]


COLORS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 192], [64, 64, 0]], np.uint8)


def camvid(root, images):
    """Cambridge's own layout: stills, masks with _L, label_colors.txt with tabs."""
    for n, (image, truth) in enumerate(images):
        save_png(root / "701_StillsRaw_full" / f"0001TP_{n:06}.png", image)
        save_png(root / "LabeledApproved_full" / f"0001TP_{n:06}_L.png", COLORS[truth])
    (root / "label_colors.txt").write_text(
        "128 0 0\tBuilding\n0 128 192\tBicyclist\n64 64 0\t\tPedestrian\n0 0 0\t\tVoid\n"
    )
    return ["Building", "Bicyclist", "Pedestrian"]


def class_dict(root, images):
    """The other usual layout: train, train_labels, val, val_labels and class_dict.csv; names recur in the splits."""
    for n, (image, truth) in enumerate(images):
        split, name = ("val", f"{n:04}") if n < 2 else ("train", f"{n - 2:04}")
        save_png(root / split / f"{name}.png", image)
        save_png(root / f"{split}_labels" / f"{name}_L.png", COLORS[truth])
    rows = [["name", "r", "g", "b"], ["Building", *COLORS[1]], ["Bicyclist", *COLORS[2]], ["Pedestrian", *COLORS[3]]]
    write_rows(root / "class_dict.csv", [*rows, ["Sky", 0, 0, 0]])
    return ["Building", "Bicyclist", "Pedestrian"]


def msrc(root, images):
    """MSRC's folders, bitmaps with _GT, with a colour table added."""
    for n, (image, truth) in enumerate(images):
        save_png(root / "Images" / f"1_{n}_s.bmp", image)
        save_png(root / "GroundTruth" / f"1_{n}_s_GT.bmp", COLORS[truth])
    (root / "label_colors.txt").write_text("0 0 0 void\n128 0 0 building\n0 128 192 grass\n64 64 0 tree\n")
    return ["building", "grass", "tree"]


def pascal_context(root, images):
    from scipy.io import savemat

    (root / "trainval").mkdir(parents=True)
    names = {1: "accordion", 2: "aeroplane", 3: "air conditioner", 431: "unknown"}
    (root / "labels.txt").write_text("".join(f"{number}: {name}\n" for number, name in names.items()))
    for n, (image, truth) in enumerate(images):
        save_jpg(root / "JPEGImages" / f"2008_{n:06}.jpg", image)
        plane = truth.astype(np.uint16)
        plane[:, 0] = 431
        savemat(root / "trainval" / f"2008_{n:06}.mat", {"LabelMap": plane})
    return ["accordion", "aeroplane", "air conditioner"]


def pascal_part(root, images):
    from scipy.io import savemat

    (root / "Annotations_Part").mkdir(parents=True)
    (root / "part2ind.m").write_text(
        "function pimap = part2ind()\n% [aeroplane]\npimap{1}('body') = 1; % body\n% pimap{1}('nothing') = 9;\n"
        "for ii = 1:10\n    pimap{1}(sprintf('engine_%d', ii)) = 10+ii; % multiple engines\nend\n"
        "pimap{2}('fwheel')      = 1;                % front wheel\n"
    )
    for n, (image, truth) in enumerate(images):
        save_jpg(root / "JPEGImages" / f"2008_{n:06}.jpg", image)
        parts = [_part("body", truth == 1), _part("engine_1", truth == 1), _part("engine_2", truth == 2)]
        objects = [{"class": "aeroplane", "class_ind": 1, "mask": (truth == 1).astype(np.uint8), "parts": parts}]
        objects.append({"class": "bird", "class_ind": 3, "mask": (truth == 3).astype(np.uint8), "parts": []})
        annotation = {"imname": f"2008_{n:06}", "objects": objects[: 1 + n % 2]}  # MATLAB has one struct, or a row
        savemat(root / "Annotations_Part" / f"2008_{n:06}.mat", {"anno": annotation})
    return ["aeroplane"]


def _part(name, mask):
    return {"part_name": name, "mask": mask.astype(np.uint8)}


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
