"""Images in files: folders, CSV, parquet and arrow tables, the hub, torchvision."""
